//! Makes an enum of metrics, and the list of their values, from a table.

/// A table of metrics: a variant, a name, a [`MetricKind`](super::MetricKind) and a sentence for each.
macro_rules! metrics {
    (
        $(#[$about:meta])* enum $metric:ident;
        $(#[$about_counts:meta])* struct $counts:ident;
        $( $id:ident $name:literal $kind:ident $help:literal; )*
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $metric {
            $( #[doc = $help] $id, )*
        }

        impl $metric {
            /// Every metric, in the order of its number, which is the order of JSON.
            pub const ALL: &'static [Self] = &[$( Self::$id, )*];
            /// How many metrics there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The name in JSON, and for programs that collect metrics.
            pub const fn name(self) -> &'static str {
                match self { $( Self::$id => $name, )* }
            }

            /// What the value is.
            pub const fn kind(self) -> $crate::metric::MetricKind {
                match self { $( Self::$id => $crate::metric::MetricKind::$kind, )* }
            }

            /// What the metric tells, in a sentence for people.
            pub const fn help(self) -> &'static str {
                match self { $( Self::$id => $help, )* }
            }

            /// The metric with a name.
            pub fn of_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|metric| metric.name() == name)
            }
        }

        $(#[$about_counts])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $counts([u64; $metric::COUNT]);

        impl $counts {
            /// The values that `value` tells of each metric.
            pub fn from_fn(value: impl FnMut($metric) -> u64) -> Self {
                Self(::std::array::from_fn(|n| $metric::ALL[n]).map(value))
            }

            /// Every metric with its value.
            pub fn iter(&self) -> impl Iterator<Item = ($metric, u64)> {
                $metric::ALL.iter().copied().zip(self.0)
            }

            /// The values for both together: see [`MetricKind`](crate::metric::MetricKind).
            #[must_use]
            pub fn plus(&self, other: &Self) -> Self {
                Self::from_fn(|metric| metric.kind().join(self[metric], other[metric]))
            }
        }

        impl Default for $counts {
            /// Every metric at zero.
            fn default() -> Self {
                Self([0; $metric::COUNT])
            }
        }

        impl ::std::ops::Index<$metric> for $counts {
            type Output = u64;

            fn index(&self, metric: $metric) -> &u64 {
                &self.0[metric as usize]
            }
        }

        impl ::std::ops::IndexMut<$metric> for $counts {
            fn index_mut(&mut self, metric: $metric) -> &mut u64 {
                &mut self.0[metric as usize]
            }
        }
    };
}
