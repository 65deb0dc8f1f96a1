"""The built-in methods: declarations, and the files they name. A project imports them as `bench.methods...`."""
