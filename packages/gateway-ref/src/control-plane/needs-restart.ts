import type { GatewayConfig } from '../config/gateway-config.ts'

/**
 * The settings that differ and can't change under running sessions, as their names in a configuration. Everything else
 * (certificate, users' entries, DNS, routes, times and limits of sessions) can.
 */
export function needsRestart(before: GatewayConfig, after: GatewayConfig): string[] {
  const names: string[] = []
  const compare = (name: string, one: unknown, other: unknown) => {
    if (JSON.stringify(one) !== JSON.stringify(other)) names.push(name)
  }
  compare('listen', before.listen, after.listen)
  compare('pool', before.pool, after.pool)
  compare('dns.forward', before.dns.forward, after.dns.forward)
  compare('egress', before.egress, after.egress)
  compare('auth', before.auth, after.auth)
  compare('mtu', before.mtu, after.mtu)
  compare('datagram.enabled', before.datagram.enabled, after.datagram.enabled)
  compare('session.maxSessions', before.session.maxSessions, after.session.maxSessions)
  compare('dataPlane', before.dataPlane, after.dataPlane)
  compare('log', before.log, after.log)
  return names
}
