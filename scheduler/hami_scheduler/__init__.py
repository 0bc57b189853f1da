"""The extender beside a stock kube-scheduler: it filters and ranks nodes, and binds a pod with its grant in one write."""
