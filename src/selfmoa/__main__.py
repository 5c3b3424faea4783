"""python -m selfmoa"""

from selfmoa.cli import main

main()
