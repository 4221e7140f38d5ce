/** Bytes from hex digits, with or without spaces. */
export function bytes(hex: string): Uint8Array {
  return Uint8Array.from(hex.replace(/\s/g, '').match(/../g) ?? [], pair => Number.parseInt(pair, 16))
}

export function text(value: string): Uint8Array {
  return new TextEncoder().encode(value)
}
