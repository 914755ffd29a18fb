/** For whoever sits at the terminal: what long work is about. Says nothing where nobody looks. */
export function showSteps(screen: NodeJS.WriteStream = process.stderr): (share: number, step: string) => void {
  if (!screen.isTTY) return () => undefined;
  let shown: string | undefined;
  return (_share, step) => {
    if (step === shown) return;
    shown = step;
    screen.write(`${step} …\n`);
  };
}
