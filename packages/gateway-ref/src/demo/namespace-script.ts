/** The namespace that the script makes. */
export const CLIENT_NAMESPACE = 'twinbore-client'

/**
 * What `openconnect --script` runs in place of vpnc-script, for a client on the gateway's own computer: its interface gets a
 * network namespace of its own, so that neither its routes nor its name servers become those of the computer.
 */
export const namespaceScript: string = `#!/bin/sh
# For openconnect --script: puts the tunnel's interface into the network namespace ${CLIENT_NAMESPACE}, with a default route.
name=${CLIENT_NAMESPACE}
case "$reason" in
connect)
  ip netns delete "$name" 2>/dev/null
  ip netns add "$name"
  ip link set "$TUNDEV" netns "$name"
  ip -n "$name" link set lo up
  ip -n "$name" address add "$INTERNAL_IP4_ADDRESS/32" dev "$TUNDEV"
  ip -n "$name" link set "$TUNDEV" mtu "$INTERNAL_IP4_MTU" up
  ip -n "$name" route add default dev "$TUNDEV"
  ;;
disconnect)
  ip netns delete "$name"
  ;;
esac
`
