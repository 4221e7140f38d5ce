/** Tells when nothing has happened for a time. It never keeps the process alive. */
export class IdleTimer {
  /** 0: it does nothing. */
  milliseconds = 0
  private readonly onIdle: () => void
  private timer: NodeJS.Timeout | undefined

  constructor(onIdle: () => void) {
    this.onIdle = onIdle
  }

  /** @throws RangeError for a time that setTimeout can't wait */
  set(milliseconds: number): void {
    if (!(milliseconds >= 0 && milliseconds <= 0x7fff_ffff)) {
      throw new RangeError('milliseconds must be from 0 to 2147483647')
    }
    clearTimeout(this.timer)
    this.milliseconds = milliseconds
    this.timer = milliseconds > 0 ? setTimeout(this.onIdle, milliseconds).unref() : undefined
  }

  /** Something happened. */
  refresh(): void {
    this.timer?.refresh()
  }
}
