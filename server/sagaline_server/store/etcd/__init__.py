"""The store on etcd: a lease that says who lives, and transactions that say who may write."""
