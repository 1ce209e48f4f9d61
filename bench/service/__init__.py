"""The service beside what is usually written, a strong peer, and what a web server can do at all.

    servers/        the services that this one is compared with
    contestants.py  the services that are measured, each started on one core
    models.py       models of usual sizes; onnx_models.py  the same as ONNX, for the peer
    process.py      what the kernel says of a process: CPU, memory, whether it answers yet
    load.py         wrk and httpx as clients, on the other core
    rounds.py       the measurements, in alternating rounds
    image.py        sizes of images
    report.py       results.json, the tables, plot.png

`python -m bench.service --help` says how to run it; `dagger call benchmark` runs it on the image.
"""
