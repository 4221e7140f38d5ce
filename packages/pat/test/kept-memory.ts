// Shared memory of translators: copies of it, and what a thread that stops between two stores would have left in it.
import { vi } from 'vitest'
import { allocateTranslatorMemory, type PatOptions, type Translator, type TranslatorMemory } from '../src/index.ts'
import { extend } from '../src/translator-memory.ts'

type MemoryOptions = Pick<PatOptions, 'maxMappings' | 'maxSessions' | 'maxQuarantinedPorts'>

export function copyMemory(memory: TranslatorMemory, options: MemoryOptions = {}): TranslatorMemory {
  const copy = allocateTranslatorMemory(options)
  for (const part of ['sessions', 'records', 'resting'] as const) {
    extend(copy[part], memory[part].byteLength)
    new Uint8Array(copy[part]).set(new Uint8Array(memory[part]))
  }
  return copy
}

type Columns = Record<string, Int32Array | Float64Array | Uint8Array>
interface Insides {
  readonly engine: {
    readonly mappings: {
      readonly sessions: { readonly store: Columns }
      readonly records: Columns
      readonly restingRecords: Columns
    }
  }
}

/** Calls `onStore` after each store into a translator's shared memory. It reaches into what is private. */
export function watchStores(translator: Translator, onStore: () => void): void {
  const { sessions, records, restingRecords } = (translator as unknown as Insides).engine.mappings
  for (const name of ['words', 'times', 'bytes']) watch(sessions.store, name, onStore)
  watch(records, 'words', onStore)
  for (const name of ['words', 'times']) watch(restingRecords, name, onStore)
}

const targets = new WeakMap<object, Int32Array>()

/** Atomics refuse proxies; to be undone with `vi.restoreAllMocks()`. */
export function letAtomicsWatch(): void {
  const { store, load } = Atomics
  vi.spyOn(Atomics, 'store').mockImplementation(((array: Int32Array, at: number, value: number) => {
    const target = targets.get(array)
    if (!target) return store(array, at, value)
    array[at] = value
    return value
  }) as typeof Atomics.store)
  vi.spyOn(Atomics, 'load').mockImplementation(((array: Int32Array, at: number) =>
    load(targets.get(array) ?? array, at)) as typeof Atomics.load)
}

/** An array, and whichever takes its place. */
function watch(owner: Columns, name: string, onStore: () => void): void {
  let current = wrapped(owner[name]!, onStore)
  Object.defineProperty(owner, name, {
    get: () => current,
    set: (array: Int32Array) => {
      current = wrapped(array, onStore)
    },
  })
}

function wrapped<T extends Columns[string]>(array: T, onStore: () => void): T {
  const proxy = new Proxy(array, {
    get: (target, key) => Reflect.get(target, key, target),
    set: (target, key, value) => {
      Reflect.set(target, key, value, target)
      onStore()
      return true
    },
  })
  targets.set(proxy, array as unknown as Int32Array)
  return proxy
}
