#!/bin/sh
# Configures the tunnel device as openconnect asks, by its environment: addresses, MTU and routes; nothing of the host
# (no resolver, no default route) is changed. With VPN_ENV_FILE it also writes down what it was given. With
# VPN_ROUTE_METRIC its routes stand back behind those of others, which stay.
set -eu
[ -z "${VPN_ENV_FILE:-}" ] || { echo "--- $reason"; env | grep -E '^(INTERNAL_|CISCO_|TUNDEV|VPN|IDLE)' | sort; } >>"$VPN_ENV_FILE"

routes() { # NAME ADDR-SUFFIX LEN-SUFFIX: prints the pushed prefixes of one list
  eval "count=\${$1:-0}"
  i=0
  while [ "$i" -lt "$count" ]; do
    eval "echo \"\$$1_${i}_ADDR/\$$1_${i}_MASKLEN\""
    i=$((i + 1))
  done
}

metric=${VPN_ROUTE_METRIC:+metric $VPN_ROUTE_METRIC}

case "$reason" in
  connect)
    ip link set dev "$TUNDEV" up mtu "${INTERNAL_IP4_MTU:-1280}"
    [ -z "${INTERNAL_IP4_ADDRESS:-}" ] || ip addr replace "$INTERNAL_IP4_ADDRESS/32" dev "$TUNDEV"
    [ -z "${INTERNAL_IP6_ADDRESS:-}" ] || ip -6 addr replace "$INTERNAL_IP6_ADDRESS/128" dev "$TUNDEV" nodad
    {
      for prefix in $(routes CISCO_SPLIT_INC); do echo "route replace $prefix dev $TUNDEV $metric"; done
      for prefix in $(routes CISCO_IPV6_SPLIT_INC); do echo "route replace $prefix dev $TUNDEV $metric"; done
      if [ -n "${INTERNAL_IP4_ADDRESS:-}" ] && [ -z "${CISCO_SPLIT_INC:-}" ]; then
        echo "route replace 10.0.0.0/8 dev $TUNDEV"
      fi
      if [ -n "${INTERNAL_IP6_ADDRESS:-}" ] && [ -z "${CISCO_IPV6_SPLIT_INC:-}" ]; then
        echo "route replace fd02::/64 dev $TUNDEV"
      fi
    } | ip -batch -
    echo "tunnel device $TUNDEV is ready"
    ;;
  disconnect)
    ip link set dev "$TUNDEV" down 2>/dev/null || true
    ;;
esac
