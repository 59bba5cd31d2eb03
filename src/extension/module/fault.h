/*
 * fault.h - points at which a test lets a backend fail (test/tap/faults/07*.t)
 *
 * In the library that is installed there are none: GANN_FAULT is empty unless it is compiled with
 * GANN_FAULTS (make module MODULE_FLAGS=-DGANN_FAULTS). Then fault.c reads what is to happen where.
 */
#ifndef GANN_FAULT_H
#define GANN_FAULT_H

#ifdef GANN_FAULTS
extern void gan_fault(const char *point);
#define GANN_FAULT(point) gan_fault(point)
#else
#define GANN_FAULT(point) ((void)0)
#endif

#endif
