"""Fast-forwarding: many decode steps in one computation, with the same result as single steps.

While nothing arrives, starts, finishes or is preempted, a replica repeats one decode step.  Each kind of
fast-forwarding skips the scheduling, the pricing and the recording of those repeated steps one by one;
``run.macro_steps: false`` turns all of them off.

``uniform_decode``        one stage, one batch: the steps up to the next change of its members, priced as one vector.
``data_parallel_decode``  one stage, several ranks: the joint steps in which every rank only decodes.
``pipelined_decode``      several stages: the turns of decode-only micro-batches that follow each other unchanged;
                          ``stage_times`` says when they leave each stage.

A ``DecodePool`` counts the members of one such batch, so that a step costs nothing per token; ``windowed_pool`` does so
for attention windows, which give blocks back, and ``pipelined_pools`` has one for each micro-batch of a pipeline.  A
``PlannedDecode`` holds the steps that are planned and says how many are committed.
"""
