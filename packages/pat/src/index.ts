// User-space port address translation over raw IP packets.

export type { AddressInput, PrefixInput } from './address.ts'
// What it gives.
export type * from './events.ts'
// What it takes.
export {
  defaultPatOptions,
  type NatBehavior,
  type PatConfig,
  type PatOptions,
  type PortRange,
  type Random,
} from './options.ts'
// The machine.
export { Translator } from './translator.ts'
