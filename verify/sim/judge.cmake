# The judge, the workload and the swarm: what a simulated world is told to do, and what is watched in it.
saga_room(sim_judge
    SOURCES swarm.c workload.c workload_value.c workload_plan.c workload_def.c judge.c judge_client.c judge_replay.c judge_log.c judge_deed.c judge_topic.c judge_end.c
    LINKS saga_codec saga_engine saga_wire saga_generated saga_base PkgConfig::PROTOBUFC)
