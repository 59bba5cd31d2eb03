/*
 * point.h - points at which a test can kill the worker (test/tap/faults/074_worker_points.t)
 *
 * The program that students run has none: WORKER_POINT is empty unless it is compiled with
 * WORKER_POINTS (make points).
 */
#ifndef GANN_POINT_H
#define GANN_POINT_H

#ifdef WORKER_POINTS
void worker_point(const char *name);
#define WORKER_POINT(name) worker_point(name)
#else
#define WORKER_POINT(name) ((void)0)
#endif

#endif
