/** The key that opens a session's datagram channel. */
export interface Permit {
  readonly session: number
  readonly key: Uint8Array
}

/** Who may open a datagram channel: the App-ID of each session's newest stream. One that is replaced is unknown from then on. */
export class Permits {
  private readonly permits = new Map<string, Permit>()
  private readonly appIds = new Map<number, string>()

  get size(): number {
    return this.permits.size
  }

  set(session: number, appId: Uint8Array, key: Uint8Array): void {
    this.delete(session)
    const name = hex(appId)
    this.permits.set(name, { session, key })
    this.appIds.set(session, name)
  }

  delete(session: number): void {
    const name = this.appIds.get(session)
    if (name === undefined) return
    this.appIds.delete(session)
    this.permits.delete(name)
  }

  clear(): void {
    this.permits.clear()
    this.appIds.clear()
  }

  find(appId: Uint8Array): Permit | undefined {
    return this.permits.get(hex(appId))
  }
}

function hex(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) text += byte.toString(16).padStart(2, '0')
  return text
}
