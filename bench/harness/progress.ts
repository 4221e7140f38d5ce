/** Says what a bench is doing, on standard error, so that standard output holds results alone. */
export function progress(text: string): void {
  process.stderr.write(`${text}\n`)
}
