/**
 * Who may open a datagram channel: the App-ID of each session's newest stream. A handshake names its session by it; one
 * that is replaced is unknown from then on.
 */
export class AppIds<Owner> {
  private readonly owners = new Map<string, Owner>()
  private readonly ids = new Map<Owner, string>()

  get size(): number {
    return this.owners.size
  }

  /** Gives an owner a new App-ID in place of the one before; none with `undefined`. */
  set(owner: Owner, appId: Uint8Array | undefined): void {
    const previous = this.ids.get(owner)
    if (previous !== undefined) this.owners.delete(previous)
    if (!appId) {
      this.ids.delete(owner)
      return
    }
    const key = hex(appId)
    this.owners.set(key, owner)
    this.ids.set(owner, key)
  }

  find(appId: Uint8Array): Owner | undefined {
    return this.owners.get(hex(appId))
  }
}

function hex(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) text += byte.toString(16).padStart(2, '0')
  return text
}
