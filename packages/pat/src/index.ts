// User-space port address translation over raw IP packets.

export type { AddressInput, AddressWords, PrefixInput, PrefixWords } from './address.ts'
// What it gives.
export type * from './events.ts'
// What it takes.
export {
  type Defaulted,
  defaultPatOptions,
  type NatBehavior,
  type PatConfig,
  type PatOptions,
  type PortRange,
  type Random,
} from './options.ts'
// The machine.
export { Translator } from './translator.ts'
// Where its state outlives it.
export { allocateTranslatorMemory, type KeptState, type TranslatorMemory } from './translator-memory.ts'
