/*
 * fault.h - points at which a test makes a backend fail (test/tap/faults/07*.t)
 *
 * The installed library has none: GANN_FAULT is empty unless it is compiled with GANN_FAULTS (make
 * module MODULE_FLAGS=-DGANN_FAULTS). Then fault.c reads from settings what must happen at which
 * point.
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
