import type { TunnelParameters } from '@twinbore/core'
import { IpAddress } from '@twinbore/core/address'

const timers = { dpdSeconds: 30, keepaliveSeconds: 20, rekeySeconds: 0, rekeyMethod: 'none' } as const

/** What a gateway might grant: addresses of both families, everything through the tunnel. */
export function parametersOf(changes: Partial<TunnelParameters>): TunnelParameters {
  return {
    ipv4: { address: IpAddress.of('10.77.0.5'), netmask: IpAddress.of('255.255.255.0') },
    ipv6: { address: IpAddress.of('fd77::5'), prefixLength: 64 },
    dns: { servers: [], searchDomains: [], splitDomains: [], tunnelAll: false },
    routes: { include: [], exclude: [] },
    mtu: 1400,
    baseMtu: 1500,
    stream: timers,
    idleSeconds: 0,
    sessionSeconds: 3600,
    sessionRemainingSeconds: 3600,
    disconnectedSeconds: 300,
    clientBypass: false,
    ...changes,
  }
}
