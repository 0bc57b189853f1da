// Package parts names the programs whose sources go.sum must cover.
package parts

import _ "sigs.k8s.io/kwok/pkg/kwok/cmd"
