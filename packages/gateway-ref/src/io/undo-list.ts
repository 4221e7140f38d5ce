/** What has been opened, and how to take it back: the newest first, each step once, whatever the others do. */
export class UndoList {
  private readonly steps: (() => unknown)[] = []

  add(step: () => unknown): void {
    this.steps.push(step)
  }

  /** Takes everything back. Resolves with what failed on the way; a failed step keeps none of the others from running. */
  async run(): Promise<Error[]> {
    const failures: Error[] = []
    for (let step = this.steps.pop(); step; step = this.steps.pop()) {
      try {
        await step()
      } catch (error) {
        failures.push(error instanceof Error ? error : new Error(String(error)))
      }
    }
    return failures
  }
}
