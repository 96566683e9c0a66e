# The shrinker: from a failing seed to the shortest story. It calls saga_sim_run, which whoever links it brings.
saga_room(sim_shrink SOURCES shrink.c LINKS saga_base)
