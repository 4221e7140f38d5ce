// What stands on the command line behind the name of a bench.

/** A mistake on the command line. */
export class UsageError extends Error {}

/** One bench, as `bench.ts` lists it. */
export interface Bench {
  readonly name: string
  /** What it measures, in one line. */
  readonly summary: string
  /** The options it has beside the common ones, with what they mean. */
  readonly options: Readonly<Record<string, BenchOption>>
  run(words: Words): Promise<void>
}

export interface BenchOption {
  readonly type: 'string' | 'boolean'
  /** What stands for the value in the usage, such as `N`. */
  readonly value?: string
  readonly help: string
}

/** Options that more than one bench has. */
export const sharedOptions = {
  vs: (peers: string): BenchOption => ({
    type: 'string',
    value: 'PEER,...',
    help: `measure these in the same rounds: ${peers}`,
  }),
  seconds: (fallback: number): BenchOption => ({
    type: 'string',
    value: 'N',
    help: `length of one measurement (${fallback})`,
  }),
  driver: {
    type: 'string',
    value: 'NAME',
    help: "what moves our gateway's packets: auto, worker, loop or portable (auto, as in the program)",
  },
} as const satisfies Record<string, BenchOption | ((...words: never[]) => BenchOption)>

export const drivers = ['auto', 'worker', 'loop', 'portable'] as const
export type Driver = (typeof drivers)[number]

/** The values of options, read with their meaning. Every method throws `UsageError` for a value without sense. */
export class Words {
  private readonly values: Readonly<Record<string, unknown>>

  constructor(values: Readonly<Record<string, unknown>>) {
    this.values = values
  }

  flag(name: string): boolean {
    return this.values[name] === true
  }

  text(name: string): string | undefined {
    const value = this.values[name]
    return typeof value === 'string' ? value : undefined
  }

  /** A number above 0; `whole` ones are integers. */
  number(name: string, fallback: number, { whole = true }: { readonly whole?: boolean } = {}): number {
    const text = this.text(name)
    if (text === undefined) return fallback
    const value = Number(text)
    if (value > 0 && Number.isFinite(value) && (!whole || Number.isInteger(value))) return value
    throw new UsageError(`--${name}: '${text}' is not a ${whole ? 'whole ' : ''}number above 0`)
  }

  choice<T extends string>(name: string, choices: readonly T[], fallback: T): T {
    const text = this.text(name) ?? fallback
    const found = choices.find(choice => choice === text)
    if (found !== undefined) return found
    throw new UsageError(`--${name}: '${text}' is not one of ${choices.join(', ')}`)
  }

  /** Several of the known names, separated by commas. */
  list<T extends string>(name: string, known: readonly T[]): T[] {
    const names = this.text(name)?.split(',').filter(Boolean) ?? []
    return names.map(text => {
      const found = known.find(one => one === text)
      if (found === undefined) throw new UsageError(`--${name}: '${text}' is not known; ${known.join(', ')} are`)
      return found
    })
  }

  /** Rounds, each of which measures every candidate once. */
  get rounds(): number {
    return this.number('rounds', 5)
  }

  get json(): string {
    return this.text('json') ?? ''
  }
}
