"""The Open Inference Protocol, version 2, of KServe, Triton and their clients: bodies, paths, messages and answers.

Belongs here: everything that knows how version 2 looks on the wire, over REST and over gRPC. Both read an
`InferRequest` and share one planner. Does not belong here: TensorFlow Serving's own protocol (`core.rest`,
`core.grpc`), and whatever the two have in common (`core.inference`, `core.routing`), which knows neither.
"""
