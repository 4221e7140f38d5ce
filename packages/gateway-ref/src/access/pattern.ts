/** Text that may hold `*` for any run of characters; upper and lower case are the same. */
export interface Pattern {
  /** As it was written. */
  readonly text: string
  /** What must stand between the asterisks, in lower case. */
  readonly pieces: readonly string[]
}

export function pattern(text: string): Pattern {
  return { text, pieces: text.toLowerCase().split('*') }
}

/** Whether all of a text is like a pattern. In time linear to both, whatever is asked. */
export function isLike(text: string, { pieces }: Pattern): boolean {
  const lower = text.toLowerCase()
  const first = pieces[0]!
  if (pieces.length === 1) return lower === first
  const last = pieces[pieces.length - 1]!
  if (lower.length < first.length + last.length || !lower.startsWith(first) || !lower.endsWith(last)) return false
  const end = lower.length - last.length
  let at = first.length
  for (const piece of pieces.slice(1, -1)) {
    const found = lower.indexOf(piece, at)
    if (found === -1 || found + piece.length > end) return false
    at = found + piece.length
  }
  return true
}
