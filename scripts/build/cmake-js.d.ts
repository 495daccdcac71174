/** The part of cmake-js that the build uses; it ships no types. */
declare module 'cmake-js' {
  export class BuildSystem {
    constructor(options: Record<string, unknown>);
    readonly cmake: { getConfigureCommand(): Promise<string[]> };
  }
}
