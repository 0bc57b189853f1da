// Package parts names the programs whose sources go.sum must cover.
package parts

import _ "go.etcd.io/etcd/server/v3/etcdmain"
