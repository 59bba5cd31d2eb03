# sources.mk - the objects of the mathematics and of all formats, one list for extension, worker and tests
DCGAN_SOURCES = model.c random.c statistics.c adam.c outer.c average.c aggregators.c clipped.c order.c multikrum.c update.c schedule.c loss.c arena.c pool.c network.c passes.c unit.c local.c generate.c \
	cpu/paths.c cpu/im2col.c cpu/winograd.c cpu/kernels.c cpu/kernels_avx512.c cpu/kernels_avx2.c cpu/kernels_portable.c \
	cpu/layers.c cpu/naive.c
# The wire format, in src/wire.
WIRE_SOURCES = blob.c half.c int8.c change.c
# What generated images are measured by, in src/quality.
QUALITY_SOURCES = swd.c pyramid.c
# Checkpoints, in src/safetensors, and sheets of images, in src/sheet.
SAFETENSORS_SOURCES = safetensors.c numbers.c read.c names.c checkpoint.c
SHEET_SOURCES = sheet.c
# Both are optimised for the vectoriser. The two -fno flags are what it needs of -ffast-math and change no result; contraction into
# fused multiply-add would change results from machine to machine, so it is off.
DCGAN_CFLAGS = -O3 -fno-math-errno -fno-trapping-math -ffp-contract=off
