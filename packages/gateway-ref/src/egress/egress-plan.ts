import type { Translation } from './egress.ts'
import type { AddressPair } from './host-address-device.ts'

/** What a way out adds to the host, once it has seen it; made by the `prepare-*` files of `io/`. */
export interface EgressPlan {
  /** Longest packet of the device. */
  readonly mtu: number
  /** Addresses of the device, with prefix lengths. */
  readonly addresses: readonly string[]
  /** What is routed to the device. */
  readonly routes: readonly string[]
  /** Addresses that the host answers for on a link. */
  readonly proxies: readonly { readonly device: string; readonly address: string }[]
  /** Kernel settings by name. */
  readonly settings: Readonly<Record<string, string>>
  /** The rules, in order of preference: a kernel that refuses one may take the next. */
  readonly scripts: (device: string, saved: string, exclusive: { ipv4: boolean; ipv6: boolean }) => readonly string[]
  readonly translation: Translation | undefined
  /** Addresses of the host and those that stand for them on the device; see `HostAddressDevice`. */
  readonly addressPairs: readonly AddressPair[]
}
