"""Checks that Doxygen's XML, in the folder given, has a description for each public name. Doxygen 1.9.4 does not warn
about concepts, enumerators, namespaces, deleted functions and constructors without arguments. (What ends in `_` is
private, also in an anonymous union, whose members it takes for public ones.)"""

import glob
import sys
import xml.etree.ElementTree as xml

names = {}  # by their ids, since a namespace's are also those of its inline namespace
for file in glob.glob(sys.argv[1] + "/*.xml"):
    for compound in xml.parse(file).iter("compounddef"):
        if compound.find("location").get("file") == "[generated]":  # another library's namespace that is only named here
            continue
        place = compound.findtext("compoundname")
        for entry in [compound, *compound.iter("memberdef"), *compound.iter("enumvalue")]:
            name = place if entry is compound else place + "::" + entry.findtext("name")
            is_private = entry.get("prot") == "private" or entry.get("kind") == "friend"
            if place == "std" or entry.get("kind") in ("file", "page") or is_private or "~" in name or name.endswith("_"):
                continue
            texts = [entry.find("briefdescription"), entry.find("detaileddescription")]
            names[entry.get("id")] = (name, any("".join(text.itertext()).strip() for text in texts))

missing = sorted(name for name, described in names.values() if not described)
print(f"{len(names)} public names, {len(missing)} without a description")
print("\n".join(missing))
sys.exit(1 if missing or not names else 0)
