// Addresses and prefixes, routes, split tunnels, and the pool that addresses are leased from.

export { type Family, IpAddress } from './ip-address.ts'
export { Prefix, prefixTextHasHostBits } from './prefix.ts'
export { type AddressRange, PrefixSet } from './prefix-set.ts'

// Longest-prefix match, and the policy on top of it.

export { NO_ROUTE, type RouteEntry, RouteTable, type RouteTableOptions } from './route-table.ts'
export {
  defaultSplitTunnelOptions,
  type SplitTunnelExplanation,
  type SplitTunnelOptions,
  SplitTunnelPolicy,
  type SplitTunnelResult,
} from './split-tunnel.ts'
export type {
  SplitTunnelProblem,
  SplitTunnelProblemCode,
  SplitTunnelRule,
  SplitTunnelRules,
} from './split-tunnel-rules.ts'

// Leases.

export {
  AddressPool,
  type AddressPoolOptions,
  type AddressPoolOutput,
  type AddressPoolStats,
  defaultAddressPoolOptions,
  type Lease,
  type LeaseOutcome,
} from './address-pool.ts'
