# SPDX-License-Identifier: Apache-2.0
"""The parts of Open vSwitch's source that say what the options are.

Each part replaces everything between the first line that holds `start` and the line `end` after
it, both included, so that the patched source needs no marker that its reviewers would ask about.
"""

import dataclasses
import re
import textwrap
import xml.sax.saxutils

import generate_docs

WIDTH = 79


@dataclasses.dataclass(frozen=True)
class Part:
    path: str
    start: str
    end: str
    text: str


INTERFACE_INTRO = (
    "Through vDPA, a virtual machine's virtio device is served by a VF, an SF or a software "
    "datapath, and the interface is the network device that stands for it in the bridge: the "
    "representor, or the TAP device of an emulated VF.  <code>ovs-vdpa-agent</code>, a separate "
    "daemon, provides such ports from the options below.  <code>ovs-vswitchd</code> checks them, "
    "shows what is wrong in <ref column=\"status\" key=\"vdpa_error\"/> of system interfaces, "
    "and otherwise leaves them to the daemon.  A bad value never affects the forwarding of the "
    "port.  The options have a meaning for interfaces of type <code>system</code> and "
    "<code>dpdk</code>.")

# What the daemon's own pages need not say.
COLUMN_NOTE = "<code>ovs-vswitchd</code> looks at <ref column=\"options\"/> alone."

GLOBAL_INTRO = (
    "Settings of <code>ovs-vdpa-agent</code>, a separate daemon that provides vDPA ports; see "
    "<code>vDPA Options</code> in the <ref table=\"Interface\"/> table.  "
    "<code>ovs-vswitchd</code> does not use them.")

C_KINDS = {"boolean": "BOOLEAN", "enum": "ENUM", "integer": "INTEGER", "mac": "MAC",
           "octal": "OCTAL", "owner": "OWNER", "path": "PATH", "string": "STRING"}


def wrapped(text, indent):
    text = re.sub(r"\. +(?=[A-Z])", ".  ", text)
    return textwrap.fill(text, WIDTH, initial_indent=indent, subsequent_indent=indent,
                         break_long_words=False, break_on_hyphens=False) + "\n"


def paragraph(markup, indent):
    return f"{indent}<p>\n" + wrapped(markup, indent + "  ") + f"{indent}</p>\n"


def json_type(key):
    """The type in the form of the database schema, as far as that can express it."""
    kind = key["type"]
    if kind == "boolean":
        return '{"type": "boolean"}'
    if kind == "integer":
        return f'{{"type": "integer", "minInteger": {key["min"]}, "maxInteger": {key["max"]}}}'
    if kind == "enum":
        values = ", ".join(f'"{value}"' for value in key["values"])
        return f'{{"type": "string", "enum": ["set", [{values}]]}}'
    if kind in ("path", "string"):
        return f'{{"type": "string", "maxLength": {key["max_length"]}}}'
    return '{"type": "string"}'


def rule(key):
    """What the type of the database schema cannot say, as a sentence; else nothing."""
    if key["type"] in ("path", "owner", "octal", "mac", "path-list"):
        return "Value: " + xml.sax.saxutils.escape(generate_docs.option_range(key)) + "."
    return ""


def column(name, key_name, key, sentences):
    head = f'      <column name="{name}" key="{key_name}"\n'
    head += f"              type='{json_type(key)}'>\n"
    return head + "".join(paragraph(s, " " * 8) for s in sentences if s) + "      </column>\n"


def columns(name, keys):
    text = ""
    for key in keys:
        default = f"Defaults to <code>{key['default']}</code>." if "default" in key else ""
        last = "  ".join(part for part in (rule(key), default) if part)
        text += "\n" + column(name, key["name"], key,
                              [xml.sax.saxutils.escape(key["doc"]), last])
        for alias in key.get("aliases", []):
            text += "\n" + column(name, alias, key,
                                  [f'Alias of <ref column="{name}" key="{key["name"]}"/>.'])
    return text


def group(title, intro, body):
    paragraphs = "".join(paragraph(markup, " " * 6) for markup in intro)
    return f'    <group title="{title}">\n{paragraphs}{body}    </group>\n'


def vswitch_xml(options):
    for title, intro, column_name, scope in (
            ("vDPA Settings", [GLOBAL_INTRO], "other_config", "global"),
            ("vDPA Options",
             [INTERFACE_INTRO,
              xml.sax.saxutils.escape(options["interface"]["doc"]) + "  " + COLUMN_NOTE],
             "options", "interface")):
        body = columns(column_name, options[scope]["keys"])
        yield Part("vswitchd/vswitch.xml", f'    <group title="{title}">\n', "    </group>\n",
                   group(title, intro, body))


def c_table(options):
    start, end = "static const struct vdpa_option vdpa_options[] = {\n", "};\n"
    rows = ""
    for key in options["interface"]["keys"]:
        kind = key["type"]
        if kind == "enum":
            values = "".join(f'"{value}", ' for value in key["values"])
            limits = f"0, 0, {{ {values}NULL }}"
        else:
            low = key.get("min", 0)
            high = key.get("max", key.get("max_length", 0))
            limits = f"{low}, {high}, {{ NULL }}"
        for name in [key["name"], *key.get("aliases", [])]:
            rows += f'    {{ "{name}", VDPA_{C_KINDS[kind]}, {limits} }},\n'
    return Part("lib/vdpa-options.c", start, end, start + rows + end)


def completion(options):
    parts = []
    for scope, name in (("interface", "INTERFACE"), ("global", "OPEN_VSWITCH")):
        start, end = f'_OVS_VSCTL_VDPA_{name}_KEYS="\n', '"\n'
        names = [n for key in options[scope]["keys"] for n in (key["name"],
                                                               *key.get("aliases", []))]
        parts.append(Part("utilities/ovs-vsctl-bashcomp.bash", start, end,
                          start + "".join(f"{n}\n" for n in names) + end))
    return parts


def parts(schema):
    """All parts, in the order in which the patches bring them."""
    options = schema["options"]
    return [c_table(options), *vswitch_xml(options), *completion(options)]


def place(text, part):
    """Returns `text`, a whole file of Open vSwitch, with `part` put in place of what stands
    there; None where nothing does."""
    begin = text.find(part.start)
    if begin < 0:
        return None
    end = text.find("\n" + part.end, begin + len(part.start) - 1)
    if end < 0:
        return None
    return text[:begin] + part.text + text[end + 1 + len(part.end):]


def stale(schema, tree, write):
    """Brings the parts in the source `tree` up to date if `write` is set; returns those that are
    missing or not up to date, as "path: first line"."""
    names = []
    for part in parts(schema):
        path = tree / part.path
        old = path.read_text() if path.exists() else ""
        new = place(old, part)
        if new == old:
            continue
        if new is not None and write:
            path.write_text(new)
        else:
            names.append(f"{part.path}: {part.start.strip()}")
    return names
