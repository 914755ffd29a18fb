/** What `/versions` says of features beyond the released spec: each here only because it works. */
export const unstableFeatures: Readonly<Record<string, boolean>> = {};
