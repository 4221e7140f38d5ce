/**
 * The base of the failures of `core`. `code` is the contract: a closed union per package, so that
 * `switch (error.code)` is exhaustive and survives two copies of a package in one process.
 */
export class ProtocolError<Code extends string> extends Error {
  override readonly name: string = 'ProtocolError'
  readonly code: Code

  constructor(code: Code, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
