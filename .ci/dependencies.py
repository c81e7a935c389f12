#!/usr/bin/env python3
"""Licences, duplicates, sources and minimum Rust versions of all dependencies, by deny.toml and `cargo metadata`.

Arguments: manifests to look at, beside the workspace in the current directory.
"""

import json
import re
import subprocess
import sys
import tomllib
from collections import defaultdict


def metadata(manifest):
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--all-features", "--manifest-path", manifest]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def permitted(expression, allowed):
    """Can the SPDX expression be met with allowed licences alone? "A/B" is what "A OR B" used to be."""
    tokens = re.findall(r"[()]|[^\s()]+", expression.replace("/", " OR "))
    at = 0

    def peek():
        return tokens[at] if at < len(tokens) else None

    def take():
        nonlocal at
        at += 1
        return tokens[at - 1]

    def any_of():
        result = all_of()
        while peek() == "OR":
            take()
            result = all_of() or result
        return result

    def all_of():
        result = one()
        while peek() == "AND":
            take()
            result = one() and result
        return result

    def one():
        name = take()
        if name == "(":
            result = any_of()
            if take() != ")":
                raise ValueError(expression)
            return result
        if peek() == "WITH":
            take()
            name += " WITH " + take()
        return name in allowed

    result = any_of()
    if peek() is not None:
        raise ValueError(expression)
    return result


def version(text):
    return tuple(int(part) for part in (text.split(".") + ["0", "0"])[:3])


def check(manifest, deny, problems):
    data = metadata(manifest)
    ours = [package for package in data["packages"] if package["source"] is None]
    theirs = [package for package in data["packages"] if package["source"] is not None]
    members = {package["rust_version"] for package in ours}
    if len(members) != 1 or None in members:
        problems.append(f"{manifest}: our packages name different Rust versions: {members}")
        return
    (minimum,) = members
    allowed = set(deny["licenses"]["allow"])
    skipped = {entry["crate"] for entry in deny["bans"]["skip"]}
    versions = defaultdict(set)
    for package in theirs:
        name = f"{package['name']} {package['version']}"
        if not package["source"].startswith("registry+"):
            problems.append(f"{name} comes from {package['source']}")
        if not package["license"] or not permitted(package["license"], allowed):
            problems.append(f"{name} has the licence {package['license']}, which deny.toml does not allow")
        if package["rust_version"] and version(package["rust_version"]) > version(minimum):
            problems.append(f"{name} needs Rust {package['rust_version']}, we promise {minimum}")
        major = package["version"].split(".")[0]
        if f"{package['name']}:{major}" not in skipped:
            versions[package["name"]].add(package["version"])
    for name, several in sorted(versions.items()):
        if len(several) > 1:
            problems.append(f"{name} is there in several versions: {', '.join(sorted(several))}")
    print(f"{manifest}: {len(ours)} packages of ours, {len(theirs)} of others, Rust {minimum}")


def main():
    with open("deny.toml", "rb") as file:
        deny = tomllib.load(file)
    problems = []
    for manifest in ["Cargo.toml", *sys.argv[1:]]:
        check(manifest, deny, problems)
    for problem in sorted(set(problems)):
        print(f"error: {problem}", file=sys.stderr)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
