"""Programs of the peers. They run on the Python of a scratch environment, which has the peers' SDKs and not ours."""
