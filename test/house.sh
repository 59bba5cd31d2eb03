#!/bin/bash
# Prints the figures of the house: circles of files that use each other, files in a folder, the length
# of the step, the words of the documentation.
# Needs what make has built.
cd "$(dirname "${BASH_SOURCE[0]}")/.." && exec prove --verbose --norc test/house/*.t
