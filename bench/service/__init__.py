"""The service beside what is usually written, and beside what a web server can do at all.

    contestants.py  who is measured, each as a process on one core
    naive.py        the service that this one is compared with; hello.py  uvicorn with nothing behind it
    process.py      what the kernel says of a process: CPU, memory, whether it answers yet
    load.py         wrk and httpx as clients, on the other core
    rounds.py       the measurements, in alternating rounds
    image.py        sizes of an image
    report.py       results.json, table.md, plot.png

`python -m bench.service --help` says how to run it; `dagger call benchmark` runs it on the image.
"""
