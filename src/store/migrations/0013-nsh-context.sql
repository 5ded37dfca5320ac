-- SPDX-License-Identifier: Apache-2.0
-- What goes with NSH: 16 bytes as hexadecimal digits (metadata of type 1), or a list of {class, type, value} (type 2).

ALTER TABLE network ADD COLUMN nsh_context TEXT;
ALTER TABLE network ADD COLUMN nsh_tlvs TEXT;
