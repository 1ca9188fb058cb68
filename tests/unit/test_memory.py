"""A serving process looks for cycles rarely, but it still finds them."""

import subprocess
import sys

_CYCLES = """
import gc, weakref
from kobklein import memory

class Node:
    pass

memory.settle()
assert gc.isenabled() and gc.get_freeze_count() > 0
nodes = []
while not nodes or nodes[0]() is not None:
    node = Node()
    node.itself = node
    nodes.append(weakref.ref(node))
    assert len(nodes) < 100_000
"""


def test_cycles_are_freed_while_serving() -> None:
    subprocess.run([sys.executable, "-c", _CYCLES], check=True)
