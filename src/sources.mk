# sources.mk - which folders the programs are made of: a new file in a folder needs no line here. A Makefile says
# where this folder is (SRC), and names what it builds by paths from here: dcgan/net/network.c.
SRC ?= src
sources = $(sort $(patsubst $(SRC)/%,%,$(wildcard $(patsubst %,$(SRC)/%/*.c,$(1)))))

# The mathematics, in floats; with -DDCGAN_DOUBLE in doubles.
DCGAN_SOURCES = $(call sources,dcgan dcgan/*)
# What travels, checkpoints, and sheets of images.
WIRE_SOURCES = $(call sources,formats/wire)
SAFETENSORS_SOURCES = $(call sources,formats/safetensors)
SHEET_SOURCES = $(call sources,formats/sheet)
# What generated images are measured by.
QUALITY_SOURCES = $(call sources,quality)
# Images, wherever they are.
DATASET_SOURCES = $(call sources,dataset)
# What worker and dashboard share.
COMMON_SOURCES = $(call sources,common)

# These are optimised for the vectoriser. The two -fno flags are what it needs of -ffast-math and change no result; contraction into
# fused multiply-add would change results from machine to machine, so it is off.
DCGAN_CFLAGS = -O3 -fno-math-errno -fno-trapping-math -ffp-contract=off
VECTORISED_SOURCES = $(DCGAN_SOURCES) $(WIRE_SOURCES) $(QUALITY_SOURCES)
