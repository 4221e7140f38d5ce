/** First-in first-out, for `poll`. */
export class OutputQueue<Output> {
  private items: Output[] = []
  private head = 0

  push(output: Output): void {
    this.items.push(output)
  }

  take(): Output | undefined {
    if (this.head === this.items.length) return undefined
    const output = this.items[this.head++]
    if (this.head === this.items.length) {
      this.items = []
      this.head = 0
    }
    return output
  }
}
