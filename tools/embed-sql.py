#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Turns src/store/migrations/NNNN-name.sql into one C table (struct migration in store/impl.h).

Usage: embed-sql.py OUTPUT.c FILE.sql...
Migrations are append-only: numbers start at 1 and have no gap. A file that lies in the folder but is not
in the list is an error, so that nobody forgets the line in meson.build.
"""
import os
import re
import sys


def c_string(text):
	out = []
	for line in text.splitlines(keepends=True):
		body = "".join(c if " " <= c <= "~" and c not in '"\\?' else "".join(f"\\{b:03o}" for b in c.encode())
			       for c in line)
		out.append(f'\t"{body}"')
	return "\n".join(out) if out else '\t""'


def main(output, files):
	rows = []
	for number, path in enumerate(sorted(files, key=os.path.basename), 1):
		found = re.fullmatch(r"(\d{4})-([a-z0-9-]+)\.sql", os.path.basename(path))
		if not found or int(found[1]) != number:
			sys.exit(f"{path}: expected the name {number:04d}-name.sql (numbers have no gap)")
		with open(path, encoding="utf-8") as f:
			rows.append((number, found[2], c_string(f.read())))
	for folder in {os.path.dirname(p) for p in files}:
		extra = {n for n in os.listdir(folder) if n.endswith(".sql")} - {os.path.basename(p) for p in files}
		if extra:
			sys.exit(f"{folder}: {', '.join(sorted(extra))} not listed in meson.build")
	with open(output, "w", encoding="ascii") as f:
		f.write('/* Made by tools/embed-sql.py from the migration files. */\n#include "store/impl.h"\n\n')
		f.write("const struct migration store_migrations[] = {\n")
		for number, name, text in rows:
			f.write(f'\t{{ {number}, "{name}",\n{text} }},\n')
		f.write("};\nconst size_t store_n_migrations = sizeof(store_migrations) / sizeof(store_migrations[0]);\n")


main(sys.argv[1], sys.argv[2:])
