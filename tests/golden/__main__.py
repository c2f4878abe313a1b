"""Write the golden files."""

from tests.golden.graph import write

write()
