import type { PlaneCommand } from './commands.ts'

type RemoveInside = PlaneCommand & { readonly type: 'remove-inside' }

/**
 * The addresses that a data plane was told to forget, until it has done so. Its successor takes its mappings over and has to be
 * told again before anything else: the address may be another client's by then. Messages are counted modulo 2^32.
 */
export class UnsettledRemovals {
  private unsettled: { readonly command: RemoveInside; readonly message: number }[] = []

  /** One more, in the message of this number. */
  note(command: RemoveInside, message: number, taken: number): void {
    this.settle(taken)
    this.unsettled.push({ command, message })
  }

  /** What was not carried out by a data plane that has died, which took so many messages. It goes on in message 1 of the next. */
  handOn(taken: number): readonly PlaneCommand[] {
    this.settle(taken)
    this.unsettled = this.unsettled.map(({ command }) => ({ command, message: 1 }))
    return this.unsettled.map(({ command }) => command)
  }

  private settle(taken: number): void {
    this.unsettled = this.unsettled.filter(({ message }) => ((message - taken) | 0) > 0)
  }
}
