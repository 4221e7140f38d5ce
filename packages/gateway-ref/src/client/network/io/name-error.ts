import type { NameFailure } from '../name-query.ts'

/** An error in the shape of those of `node:dns`: `code`, `syscall`, `hostname`. */
export function nameError(code: NameFailure, hostname: string): NodeJS.ErrnoException & { readonly hostname: string } {
  return Object.assign(new Error(`lookup ${code} ${hostname}`), { code, syscall: 'lookup', hostname })
}
