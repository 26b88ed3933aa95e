"""Acts: everything that awaits, opens, sleeps or registers.

At the root stands what runs and what people write down: the three Serve deployments (`router`, `watcher`,
`model_server`), the import target of Serve's config files (`app`), the console script (`cli`) and the Python client
(`client`). The rest is in rooms, each acting on what the room of the same name in `core` decides. Which room may use
which is the contract "deployments: arrows run down" of pyproject.toml.
"""
